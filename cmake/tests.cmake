# SPDX-License-Identifier: Apache-2.0
# Tests by file name, nothing to register: test/unit/ROOM_topic.c and test/prop/ROOM_topic.c become cmocka programs linked
# with room_ROOM; test/fuzz/ROOM_topic.c defines LLVMFuzzerTestOneInput and is replayed over test/fuzz/corpus/ROOM_topic/
# in the normal run (and built as a libFuzzer program under the fuzz preset).
function(room_programs KIND)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${KIND}/*.c)
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WE)
    string(REGEX REPLACE "_.*" "" room ${stem})
    if(NOT TARGET room_${room})
      continue() # the room is not built in this configuration
    endif()
    set(prog ${KIND}_${stem})
    if(KIND STREQUAL "fuzz")
      add_executable(${prog} ${file})
      target_link_libraries(${prog} PRIVATE room_${room})
      if(HUNE_FUZZ)
        target_link_options(${prog} PRIVATE -fsanitize=fuzzer)
      else()
        target_sources(${prog} PRIVATE ${CMAKE_SOURCE_DIR}/test/lib/fuzz_main.c)
        add_test(NAME fuzz.${stem} COMMAND ${prog} ${CMAKE_SOURCE_DIR}/test/fuzz/corpus/${stem})
        set_tests_properties(fuzz.${stem} PROPERTIES LABELS fuzz TIMEOUT 120)
      endif()
    elseif(NOT HUNE_FUZZ)
      add_executable(${prog} ${file})
      target_link_libraries(${prog} PRIVATE room_${room} test_lib PkgConfig::cmocka)
      add_test(NAME ${KIND}.${stem} COMMAND ${prog})
      set_tests_properties(${KIND}.${stem} PROPERTIES LABELS ${KIND} TIMEOUT 300
        ENVIRONMENT "HUNE_TEST_SOURCE=${CMAKE_SOURCE_DIR};HUNE_TEST_BUILD=${CMAKE_BINARY_DIR}")
    endif()
  endforeach()
endfunction()
