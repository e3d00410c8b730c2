using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// Convolutions on the host's vector units: plans the tasks of <see cref="CpuTapConvolution"/> and <see cref="CpuFilterGradient"/>, packs weights, and
/// combines partial results in a fixed order.
/// </summary>
internal sealed unsafe class CpuConvolution(WorkerTeam team, CpuMemory memory, bool wide) : IConvolutionKernels
{
    /// <summary>Tasks are made so that there are at least this many where the shape allows; a number of the shape's, not of the machine's.</summary>
    private const int WantedTasks = 8;

    private const int PaddedBytesPerTask = 512 * 1024;
    private const int PartialBytes = 1536 * 1024;
    private const int SlabBytes = 640 * 1024;
    private const int CopySlack = 64;
    private const int MaximumTaps = 1024;

    /// <inheritdoc/>
    public BatchStatistics Statistics(in ConvolutionShape shape) => BatchStatistics.Moments;

    /// <inheritdoc/>
    public void Forward(in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer output, DeviceBuffer statistics)
    {
        TapRun* runs = stackalloc TapRun[Math.Min(MaximumTaps, shape.KernelHeight * shape.KernelWidth)];
        int* taps = stackalloc int[shape.KernelHeight * shape.KernelWidth];
        TapClass all = default;
        CpuTapConvolution job = Source(shape);
        job.Wide = wide;
        int stride = job.PixelStride;
        int width = job.Direct ? shape.InputWidth : job.PaddedWidth;
        for (int r = 0; r < shape.KernelHeight; r++)
        {
            for (int s = 0; s < shape.KernelWidth; s++)
            {
                taps[r * shape.KernelWidth + s] = r * shape.KernelWidth + s;
                AddTap(runs, ref all, (r * shape.DilationHeight * width + s * shape.DilationWidth) * stride, job.SourceChannels);
            }
        }

        all.Rows = shape.OutputHeight;
        all.Columns = shape.OutputWidth;
        job.Classes = &all;
        job.ClassCount = 1;
        job.Runs = runs;
        job.OutputHeight = shape.OutputHeight;
        job.OutputWidth = shape.OutputWidth;
        job.OutputPitch = Shape.PitchOf(shape.OutputChannels);
        job.OutputChannels = shape.GroupOutputChannels;
        job.OutputRowStep = 1;
        job.OutputColumnStep = 1;
        job.Source = (float*)input.Address;
        job.Output = (float*)output.Address;
        job.Bias = (float*)bias.Address;
        job.MomentsPitch = job.OutputPitch;
        PlanTasks(ref job, shape.Batch);

        int tasks = (shape.Batch + job.ImagesPerTask - 1) / job.ImagesPerTask;
        DeviceBuffer partials = statistics.IsNone ? default : memory.Allocate(tasks * 2L * job.MomentsPitch * sizeof(double));
        job.Moments = (double*)partials.Address;
        long packedFloats = (shape.GroupOutputChannels + 15) / 16 * 16L * all.Depth;
        DeviceBuffer packed = memory.Allocate(packedFloats * sizeof(float));
        job.Weights = (float*)packed.Address;
        for (int g = 0; g < shape.Groups; g++)
        {
            PackWeights pack = new()
            {
                Weights = (float*)weight.Address + (long)g * shape.GroupOutputChannels * shape.KernelHeight * shape.KernelWidth * Shape.PitchOf(shape.GroupInputChannels),
                Packed = job.Weights,
                Taps = taps,
                TapCount = shape.KernelHeight * shape.KernelWidth,
                AllTaps = shape.KernelHeight * shape.KernelWidth,
                Pitch = Shape.PitchOf(shape.GroupInputChannels),
                Outputs = shape.GroupOutputChannels,
                Inputs = shape.GroupInputChannels,
                Wide = wide,
            };
            RunGroup(ref job, pack, g, shape.Groups, shape.GroupInputChannels, shape.GroupOutputChannels, tasks);
        }

        memory.Free(packed);
        if (!statistics.IsNone)
        {
            double pixels = (double)shape.OutputHeight * shape.OutputWidth;
            ChannelMoments.Merge(job.Moments, tasks, job.ImagesPerTask * pixels, shape.Batch * pixels, shape.OutputChannels, job.MomentsPitch, (double*)statistics.Address);
            memory.Free(partials);
        }
    }

    /// <inheritdoc/>
    public bool FoldsNormalization(in ConvolutionShape shape) => false;

    /// <inheritdoc/>
    public void ForwardNormalized(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer weight, DeviceBuffer bias, DeviceBuffer saved, in NormalizationEpilogue epilogue, DeviceBuffer output,
        in ActivityReport activity) =>
        throw new NotSupportedException("The host convolves and normalises in two passes; ask FoldsNormalization first.");

    /// <inheritdoc/>
    public bool TakesBFloat16(in ConvolutionShape shape) => false;

    /// <inheritdoc/>
    public bool AddsShortcutGradients => false;

    /// <inheritdoc/>
    public void DataGradient(
        in ConvolutionShape shape, DeviceBuffer outputGradient, DeviceBuffer weight, DeviceBuffer inputGradient, GradientMode mode, in ShortcutGradient shortcut = default)
    {
        if (!shortcut.IsNone)
        {
            throw new NotSupportedException("On the host the gradient of a mapped shortcut is gathered by the normalization's backward pass; ask AddsShortcutGradients first.");
        }

        int kernelTaps = shape.KernelHeight * shape.KernelWidth;
        int classCount = shape.StrideHeight * shape.StrideWidth;
        TapClass* classes = stackalloc TapClass[classCount];
        TapRun* runs = stackalloc TapRun[Math.Min(MaximumTaps, kernelTaps)];
        int* taps = stackalloc int[kernelTaps];

        // Input pixel h = stride·j + phase reads output row j + (phase + padding − r·dilation)/stride for the filter rows r that leave no remainder.
        int outputHeight = shape.OutputHeight;
        int outputWidth = shape.OutputWidth;
        Reach(shape.InputHeight, outputHeight, shape.KernelHeight, shape.StrideHeight, shape.PaddingHeight, shape.DilationHeight, out int top, out int paddedHeight);
        Reach(shape.InputWidth, outputWidth, shape.KernelWidth, shape.StrideWidth, shape.PaddingWidth, shape.DilationWidth, out int left, out int paddedWidth);
        CpuTapConvolution job = new()
        {
            SourceHeight = outputHeight,
            SourceWidth = outputWidth,
            SourcePitch = Shape.PitchOf(shape.OutputChannels),
            SourceChannels = shape.GroupOutputChannels,
            MarginTop = top,
            MarginLeft = left,
            PaddedHeight = paddedHeight,
            PaddedWidth = paddedWidth,
            Direct = top == 0 && left == 0 && paddedHeight <= outputHeight && paddedWidth <= outputWidth,
            SourceRowStep = 1,
            SourceColumnStep = 1,
            OutputHeight = shape.InputHeight,
            OutputWidth = shape.InputWidth,
            OutputPitch = Shape.PitchOf(shape.InputChannels),
            OutputChannels = shape.GroupInputChannels,
            OutputRowStep = shape.StrideHeight,
            OutputColumnStep = shape.StrideWidth,
            Accumulate = mode == GradientMode.Accumulate,
            Wide = wide,
            Source = (float*)outputGradient.Address,
            Output = (float*)inputGradient.Address,
            Classes = classes,
            ClassCount = classCount,
            Runs = runs,
        };
        int stride = job.PixelStride;
        int width = job.Direct ? outputWidth : paddedWidth;
        int runStart = 0;
        int tapStart = 0;
        long weightOffset = 0;
        for (int phaseRow = 0; phaseRow < shape.StrideHeight; phaseRow++)
        {
            for (int phaseColumn = 0; phaseColumn < shape.StrideWidth; phaseColumn++)
            {
                TapClass one = new()
                {
                    RunStart = runStart,
                    FirstOutputRow = phaseRow,
                    FirstOutputColumn = phaseColumn,
                    Rows = (shape.InputHeight - phaseRow + shape.StrideHeight - 1) / shape.StrideHeight,
                    Columns = (shape.InputWidth - phaseColumn + shape.StrideWidth - 1) / shape.StrideWidth,
                    WeightOffset = weightOffset,
                };

                // Descending filter indices are ascending source offsets, so that neighbouring taps join into one run.
                for (int r = shape.KernelHeight - 1; r >= 0; r--)
                {
                    int row = phaseRow + shape.PaddingHeight - r * shape.DilationHeight;
                    if (row % shape.StrideHeight != 0)
                    {
                        continue;
                    }

                    for (int s = shape.KernelWidth - 1; s >= 0; s--)
                    {
                        int column = phaseColumn + shape.PaddingWidth - s * shape.DilationWidth;
                        if (column % shape.StrideWidth != 0)
                        {
                            continue;
                        }

                        taps[tapStart++] = r * shape.KernelWidth + s;
                        int offset = ((row / shape.StrideHeight + top) * width + column / shape.StrideWidth + left) * stride;
                        AddTap(runs + runStart, ref one, offset, job.SourceChannels);
                    }
                }

                runStart += one.RunCount;
                weightOffset += (shape.GroupInputChannels + 15) / 16 * 16L * one.Depth;
                classes[phaseRow * shape.StrideWidth + phaseColumn] = one;
            }
        }

        PlanTasks(ref job, shape.Batch);
        int tasks = (shape.Batch + job.ImagesPerTask - 1) / job.ImagesPerTask;
        DeviceBuffer packed = memory.Allocate(Math.Max(weightOffset, 16) * sizeof(float));
        job.Weights = (float*)packed.Address;
        int pitch = Shape.PitchOf(shape.GroupInputChannels);
        for (int g = 0; g < shape.Groups; g++)
        {
            float* groupWeights = (float*)weight.Address + (long)g * shape.GroupOutputChannels * kernelTaps * pitch;
            int firstTap = 0;
            for (int c = 0; c < classCount; c++)
            {
                int count = classes[c].Depth / job.SourceChannels;
                PackTransposedWeights pack = new()
                {
                    Weights = groupWeights,
                    Packed = job.Weights + classes[c].WeightOffset,
                    Taps = taps + firstTap,
                    TapCount = count,
                    AllTaps = kernelTaps,
                    Pitch = pitch,
                    Outputs = shape.GroupOutputChannels,
                    Inputs = shape.GroupInputChannels,
                    Wide = wide,
                };
                team.Run(ref pack, count * shape.GroupOutputChannels == 0 ? 0 : (shape.GroupInputChannels + 15) / 16);
                firstTap += count;
            }

            RunGroup(ref job, g, shape.Groups, shape.GroupOutputChannels, shape.GroupInputChannels, tasks);
        }

        memory.Free(packed);
    }

    /// <inheritdoc/>
    public void FilterGradient(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer weightGradient, DeviceBuffer biasGradient, GradientMode mode)
    {
        int gradientPitch = Shape.PitchOf(shape.OutputChannels);
        if (!biasGradient.IsNone)
        {
            BiasGradient bias = new()
            {
                Gradient = (float*)outputGradient.Address,
                Rows = (long)shape.Batch * shape.OutputHeight * shape.OutputWidth,
                Pitch = gradientPitch,
                Bias = (float*)biasGradient.Address,
                Accumulate = mode == GradientMode.Accumulate,
            };
            team.Run(ref bias, gradientPitch / 8);
        }

        if (shape.Groups > 1 && shape.GroupOutputChannels % 8 != 0)
        {
            GroupedFilterGradient grouped = new()
            {
                Shape = shape,
                Input = (float*)input.Address,
                Gradient = (float*)outputGradient.Address,
                Weights = (float*)weightGradient.Address,
                Accumulate = mode == GradientMode.Accumulate,
            };
            team.Run(ref grouped, shape.OutputChannels);
            return;
        }

        CpuFilterGradient job = new()
        {
            InputHeight = shape.InputHeight,
            InputWidth = shape.InputWidth,
            InputPitch = Shape.PitchOf(shape.InputChannels),
            InputChannels = shape.GroupInputChannels,
            GradientHeight = shape.OutputHeight,
            GradientWidth = shape.OutputWidth,
            GradientPitch = gradientPitch,
            OutputChannels = shape.GroupOutputChannels,
            KernelHeight = shape.KernelHeight,
            KernelWidth = shape.KernelWidth,
            DilationHeight = shape.DilationHeight,
            DilationWidth = shape.DilationWidth,
            StrideHeight = shape.StrideHeight,
            StrideWidth = shape.StrideWidth,
            MarginTop = shape.PaddingHeight,
            MarginLeft = shape.PaddingWidth,
            WeightPitch = Shape.PitchOf(shape.GroupInputChannels),
            Batch = shape.Batch,
            Accumulate = mode == GradientMode.Accumulate,
            Wide = wide,
        };
        long partialFloats = PlanFilterGradient(ref job);
        DeviceBuffer scratch = memory.Allocate(job.ScratchBytes * team.Count);
        DeviceBuffer partials = partialFloats == 0 ? default : memory.Allocate(partialFloats * sizeof(float));
        job.Scratch = (byte*)scratch.Address;
        job.Partials = (float*)partials.Address;

        // The last vectors of a copy reach into its slack; what they read there is not kept, but must not be patterns that slow the multiplies.
        for (int worker = 0; worker < team.Count; worker++)
        {
            new Span<float>(job.Scratch + worker * job.ScratchBytes + (job.SourceFloats - CopySlack) * sizeof(float), CopySlack).Clear();
        }

        for (int g = 0; g < shape.Groups; g++)
        {
            job.Input = (float*)input.Address + g * shape.GroupInputChannels;
            job.Gradient = (float*)outputGradient.Address + g * shape.GroupOutputChannels;
            job.Weights = (float*)weightGradient.Address + (long)g * shape.GroupOutputChannels * shape.KernelHeight * shape.KernelWidth * job.WeightPitch;
            team.Run(ref job, job.ImageChunks * job.OutputChunks * job.ChannelChunks);
            if (job.Partials != null)
            {
                CombineFilterGradient combine = new() { Source = job };
                team.Run(ref combine, job.Vectors);
            }
        }

        if (!partials.IsNone)
        {
            memory.Free(partials);
        }

        memory.Free(scratch);
    }

    /// <inheritdoc/>
    public int FilterGradientParts(in ConvolutionShape shape, ElementType type) => 1;

    /// <inheritdoc/>
    public void FilterGradientInParts(
        in ConvolutionShape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer parts, DeviceBuffer biasGradient, GradientMode biasMode) =>
        throw new InvalidOperationException("The host processor makes filter gradients in one piece.");

    /// <inheritdoc/>
    public void CombineFilterGradient(in Shape weight, int count, DeviceBuffer parts, DeviceBuffer weightGradient) =>
        throw new InvalidOperationException("The host processor makes filter gradients in one piece.");

    /// <summary>Chooses how the source is read, the division into tasks and the slabs; returns the floats of partial sums, 0 for none.</summary>
    private static long PlanFilterGradient(ref CpuFilterGradient job)
    {
        bool unit = job.KernelHeight == 1 && job.KernelWidth == 1 && job.MarginTop == 0 && job.MarginLeft == 0;
        bool whole = job.InputChannels % 16 == 0;
        job.Layout = unit && (!whole || job.OutputChannels < 128) ? FilterSource.InPlace
            : whole || job.DilationWidth > 1 && job.KernelWidth > 1 ? FilterSource.Blocked
            : FilterSource.Joined;
        job.Gathered = unit && job.Layout == FilterSource.Blocked;
        job.PaddedWidth = job.Gathered ? job.GradientWidth : (job.GradientWidth - 1) * job.StrideWidth + (job.KernelWidth - 1) * job.DilationWidth + 1;
        job.PackGradient = job.GradientPitch >= 64 && job.Vectors >= 9;

        long pixels = (long)job.GradientHeight * job.GradientWidth;
        long partialBytes = job.Vectors * 16L * job.OutputBlocks * 8 * sizeof(float);
        job.ImageChunks = (int)Math.Clamp(Math.Min(PartialBytes / partialBytes, job.Batch * pixels / 64), 1, Math.Min(WantedTasks, job.Batch));

        // A task copies its share of the input channels and of the output gradient, so the copies repeat as often as the other side is divided.
        int channelBlocks = job.Layout == FilterSource.Blocked ? job.RowVectors : 1;
        int wanted = (WantedTasks + job.ImageChunks - 1) / job.ImageChunks;
        long inputCost = (long)job.PaddedRows(job.GradientHeight) * job.PaddedWidth * job.InputChannels;
        long least = long.MaxValue;
        for (int channelChunks = 1; channelChunks <= Math.Min(wanted, channelBlocks); channelChunks *= 2)
        {
            int outputChunks = Math.Min((wanted + channelChunks - 1) / channelChunks, job.OutputBlocks);
            long cost = inputCost * outputChunks + pixels * job.OutputChannels * channelChunks;
            if (outputChunks * channelChunks >= Math.Min(wanted, job.OutputBlocks) && cost < least)
            {
                least = cost;
                job.ChannelChunks = channelChunks;
                job.OutputChunks = outputChunks;
            }
        }

        long rowBlocks = job.Layout == FilterSource.Blocked ? (channelBlocks + job.ChannelChunks - 1) / job.ChannelChunks * 16L : job.InputChannels;
        long rowFloats = job.Layout == FilterSource.InPlace ? 0 : job.PaddedWidth * rowBlocks;
        long gradientFloats = job.PackGradient ? (job.OutputBlocks + job.OutputChunks - 1) / job.OutputChunks * 8L : 0;
        long image = (job.PaddedRows(job.GradientHeight) * rowFloats + pixels * gradientFloats) * sizeof(float);
        job.RowsPerSlab = job.GradientHeight;
        if (image > SlabBytes)
        {
            long row = (job.StrideHeight * rowFloats + job.GradientWidth * gradientFloats) * sizeof(float);
            job.RowsPerSlab = (int)Math.Clamp(SlabBytes / row, 1, job.GradientHeight);
        }

        job.ImagesPerSlab = (int)Math.Clamp(Math.Min(SlabBytes / Math.Max(image, 1), 1024 / pixels), 1, (job.Batch + job.ImageChunks - 1) / job.ImageChunks);
        long slabPixels = (long)job.ImagesPerSlab * job.RowsPerSlab * job.GradientWidth;
        job.SourceFloats = (job.ImagesPerSlab * job.PaddedRows(job.RowsPerSlab) * rowFloats + CopySlack + 15) / 16 * 16;
        job.GradientFloats = (slabPixels * gradientFloats + 15) / 16 * 16;
        job.ScratchBytes = ((job.SourceFloats + job.GradientFloats + slabPixels) * sizeof(float) + 127) / 64 * 64;
        bool intoWeights = job.ImageChunks == 1 && whole && job.OutputChannels % 8 == 0;
        return intoWeights ? 0 : partialBytes / sizeof(float) * job.ImageChunks;
    }

    /// <summary>The source side of a forward pass: the padded geometry, or none where the images can be read as they are.</summary>
    private static CpuTapConvolution Source(in ConvolutionShape shape)
    {
        bool contiguous = shape.KernelWidth == 1 || Shape.PitchOf(shape.InputChannels) == shape.GroupInputChannels;
        return new CpuTapConvolution
        {
            SourceHeight = shape.InputHeight,
            SourceWidth = shape.InputWidth,
            SourcePitch = Shape.PitchOf(shape.InputChannels),
            SourceChannels = shape.GroupInputChannels,
            Direct = shape.PaddingHeight == 0 && shape.PaddingWidth == 0 && contiguous,
            MarginTop = shape.PaddingHeight,
            MarginLeft = shape.PaddingWidth,
            PaddedHeight = shape.InputHeight + 2 * shape.PaddingHeight,
            PaddedWidth = shape.InputWidth + 2 * shape.PaddingWidth,
            SourceRowStep = shape.StrideHeight,
            SourceColumnStep = shape.StrideWidth,
        };
    }

    /// <summary>Margin before the first output row that some input row reads, and the extent that all reads stay in.</summary>
    private static void Reach(int input, int output, int kernel, int stride, int padding, int dilation, out int before, out int extent)
    {
        int lowest = 0;
        int highest = output - 1;
        for (int phase = 0; phase < Math.Min(stride, input); phase++)
        {
            int count = (input - phase + stride - 1) / stride;
            for (int r = 0; r < kernel; r++)
            {
                int position = phase + padding - r * dilation;
                if (position % stride == 0)
                {
                    lowest = Math.Min(lowest, position / stride);
                    highest = Math.Max(highest, position / stride + count - 1);
                }
            }
        }

        before = -lowest;
        extent = before + highest + 1;
    }

    private static void AddTap(TapRun* runs, ref TapClass taps, int offset, int length)
    {
        if (taps.RunCount > 0 && runs[taps.RunCount - 1].Offset + runs[taps.RunCount - 1].Length == offset)
        {
            runs[taps.RunCount - 1].Length += length;
        }
        else
        {
            runs[taps.RunCount++] = new TapRun { Offset = offset, Length = length };
        }

        taps.Depth += length;
    }

    private static void PlanTasks(ref CpuTapConvolution job, int batch)
    {
        int pixels = job.OutputHeight * job.OutputWidth;
        long paddedImage = job.Direct ? 0 : (long)job.PaddedHeight * job.PaddedWidth * job.SourceChannels * sizeof(float);
        long fitting = paddedImage == 0 ? int.MaxValue : Math.Max(1, PaddedBytesPerTask / paddedImage);
        long wanted = Math.Max(1, 128 / pixels);
        job.Batch = batch;
        job.ImagesPerTask = (int)Math.Min(Math.Min(fitting, wanted), batch);
        int tasks = (batch + job.ImagesPerTask - 1) / job.ImagesPerTask;
        int pairs = Math.Max(1, (job.OutputChannels + 15) / 16 / 2);
        job.ChannelParts = Math.Clamp((WantedTasks + tasks - 1) / tasks, 1, pairs);
        job.PaddedFloats = paddedImage / sizeof(float) * job.ImagesPerTask + 64;
        long offsets = 2L * (job.ImagesPerTask * (long)pixels + 8) * sizeof(int);
        job.ScratchBytes = (job.PaddedFloats * sizeof(float) + offsets + 127) / 64 * 64;
    }

    private void RunGroup(ref CpuTapConvolution job, PackWeights pack, int group, int groups, int sourceChannels, int outputChannels, int tasks)
    {
        team.Run(ref pack, (pack.Outputs + 15) / 16);
        RunGroup(ref job, group, groups, sourceChannels, outputChannels, tasks);
    }

    private void RunGroup(ref CpuTapConvolution job, int group, int groups, int sourceChannels, int outputChannels, int tasks)
    {
        DeviceBuffer scratch = memory.Allocate(job.ScratchBytes * team.Count);
        job.Scratch = (byte*)scratch.Address;
        job.SourceChannelOffset = group * sourceChannels;
        job.OutputChannelOffset = group * outputChannels;
        job.LastGroup = group == groups - 1;
        team.Run(ref job, tasks * job.ChannelParts);
        memory.Free(scratch);
    }
}
